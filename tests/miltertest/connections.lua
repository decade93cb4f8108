-- Two connections at a time, their steps interleaved; then one that breaks off without a word.

local one, two = connect(), connect()
hello(one)
hello(two)
mail(one, "4F6A00001")
mail(two, "4F6A00002")
rcpt(one, "<bob@example.org>")
rcpt(two, "<bob@example.org>")
content(two, "4F6A00002")
content(one, "4F6A00001")
mt.disconnect(one)

mail(two, "4F6A00003")
rcpt(two, "<bob@example.org>")
mt.disconnect(two, false)

local three = connect()
hello(three)
mail(three, "4F6A00004")
rcpt(three, "<bob@example.org>")
content(three, "4F6A00004")
mt.disconnect(three)
