-- The filter asks for the one action that it needs, and for nothing that was not offered.

local conn = connect()
if not mt.test_action(conn, SMFIF_ADDHDRS) then
  error("adding headers was not asked for")
end
for name, action in pairs({ body = SMFIF_CHGBODY, recipients = SMFIF_DELRCPT, quarantine = SMFIF_QUARANTINE }) do
  if mt.test_action(conn, action) then
    error("more was asked for than is needed: " .. name)
  end
end
mt.disconnect(conn)

-- An MTA of the oldest version that there is: no DATA, no unknown commands, no agreement on replies.
conn = mt.connect("inet:" .. port .. "@127.0.0.1", 100, 0.1)
local refused = mt.negotiate(conn, 2, 0x3f, 0x7f)
if refused ~= nil then
  error("version 2: " .. refused)
end
for name, option in pairs({ nr_mail = SMFIP_NR_MAIL, nr_body = SMFIP_NR_BODY, skip = SMFIP_SKIP }) do
  if mt.test_option(conn, option) then
    error("asked for although it was not offered: " .. name)
  end
end
mt.disconnect(conn)
