-- A body in many chunks of all sizes, a message without body, and one without header.

local conn = connect()
hello(conn)
mail(conn, "4F5A00001")
rcpt(conn, "<bob@example.org>")
data(conn)
header(conn, "Subject", "hello")
end_of_headers(conn)
body(conn, "H")
body(conn, "ello.\r")
body(conn, "\n")
for number = 1, 100 do
  body(conn, string.rep("x", number) .. "\r\n")
end
body(conn, string.rep("y", 65533) .. "\r\n")
finish(conn, "4F5A00001")

mail(conn, "4F5A00002")
rcpt(conn, "<bob@example.org>")
data(conn)
header(conn, "Subject", "")
end_of_headers(conn)
finish(conn, "4F5A00002")

mail(conn, "4F5A00003")
rcpt(conn, "<bob@example.org>")
data(conn)
end_of_headers(conn)
body(conn, "Hello.\r\n")
finish(conn, "4F5A00003")
mt.disconnect(conn)
