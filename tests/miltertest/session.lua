-- A whole session, and a second message in it: each gets its own queue id.

local conn = connect()
hello(conn)
mail(conn, "4F1A00001", "SIZE=100", "BODY=8BITMIME")
rcpt(conn, "<bob@example.org>")
content(conn, "4F1A00001")
mail(conn, "4F1A00002")
rcpt(conn, "<bob@example.org>")
content(conn, "4F1A00002")
mt.disconnect(conn)
