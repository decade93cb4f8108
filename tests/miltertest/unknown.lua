-- Commands that the MTA does not know, wherever they may come.

local conn = connect()
unknown(conn, "HOKUS")
hello(conn)
unknown(conn, "HOKUS POKUS")
mail(conn, "4F4A00001")
unknown(conn, "HOKUS POKUS")
rcpt(conn, "<bob@example.org>")
unknown(conn, "HOKUS POKUS")
content(conn, "4F4A00001")
unknown(conn, "HOKUS POKUS")
mt.disconnect(conn)
