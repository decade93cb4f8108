-- What the scripts of this folder share. A filter may have asked not to be sent a step, and miltertest refuses to
-- send such a step: the functions below send what the filter asked for, and demand `continue` for it.
--
-- Given from outside: `folder`, where the scripts are, `script`, the name of the one to run, and `port`, where the
-- filter under test listens; it adds the field `X-Tamis` with macro `i`.

local function check(what, error_text)
  if error_text ~= nil then
    error(what .. ": " .. error_text)
  end
end

-- What a reply must be; nothing was read where no reply was agreed.
local function continues(conn, what, no_reply)
  local reply = mt.getreply(conn)
  if (no_reply == nil or not mt.test_option(conn, no_reply)) and reply ~= SMFIR_CONTINUE then
    error(what .. ": continue expected, got " .. string.char(reply))
  end
end

local function step(conn, what, not_wanted, no_reply, send)
  if not mt.test_option(conn, not_wanted) then
    check(what, send())
    continues(conn, what, no_reply)
  end
end

function connect()
  local conn = mt.connect("inet:" .. port .. "@127.0.0.1", 100, 0.1)
  if conn == nil then
    error("nobody listens on port " .. port)
  end
  check("negotiate", mt.negotiate(conn, nil, nil, nil))
  return conn
end

function hello(conn)
  step(conn, "connect", SMFIP_NOCONNECT, SMFIP_NR_CONN, function()
    return mt.conninfo(conn, "client.example", "192.0.2.1")
  end)
  step(conn, "helo", SMFIP_NOHELO, SMFIP_NR_HELO, function()
    return mt.helo(conn, "client.example")
  end)
end

function mail(conn, queue_id, ...)
  local arguments = { ... }
  check("macros", mt.macro(conn, SMFIC_MAIL, "i", queue_id))
  step(conn, "mail", SMFIP_NOMAIL, SMFIP_NR_MAIL, function()
    return mt.mailfrom(conn, "<alice@example.com>", table.unpack(arguments))
  end)
end

function rcpt(conn, path, ...)
  local arguments = { ... }
  step(conn, "rcpt", SMFIP_NORCPT, SMFIP_NR_RCPT, function()
    return mt.rcptto(conn, path, table.unpack(arguments))
  end)
end

function data(conn)
  step(conn, "data", SMFIP_NODATA, SMFIP_NR_DATA, function()
    return mt.data(conn)
  end)
end

function header(conn, name, value)
  step(conn, "header", SMFIP_NOHDRS, SMFIP_NR_HDR, function()
    return mt.header(conn, name, value)
  end)
end

function end_of_headers(conn)
  step(conn, "eoh", SMFIP_NOEOH, SMFIP_NR_EOH, function()
    return mt.eoh(conn)
  end)
end

function body(conn, chunk)
  step(conn, "body", SMFIP_NOBODY, SMFIP_NR_BODY, function()
    return mt.bodystring(conn, chunk)
  end)
end

function unknown(conn, line)
  step(conn, "unknown", SMFIP_NOUNKNOWN, SMFIP_NR_UNKN, function()
    return mt.unknown(conn, line)
  end)
end

-- Ends the message, and demands that the field was added, once and with this value.
function finish(conn, queue_id)
  check("eom", mt.eom(conn))
  local reply = mt.getreply(conn)
  if reply ~= SMFIR_CONTINUE and reply ~= SMFIR_ACCEPT then
    error("eom: continue or accept expected, got " .. string.char(reply))
  end
  if not mt.eom_check(conn, MT_HDRADD, "X-Tamis", queue_id) then
    error("X-Tamis was not added with " .. queue_id .. ": " .. tostring(mt.getheader(conn, "X-Tamis", 0)))
  end
  -- miltertest forgets the edits of one message at the MAIL of the next.
  if not mt.test_option(conn, SMFIP_NOMAIL) and mt.getheader(conn, "X-Tamis", 1) ~= nil then
    error("X-Tamis was added twice")
  end
  if mt.eom_check(conn, MT_BODYCHANGE) or mt.eom_check(conn, MT_HDRCHANGE) then
    error("more was changed than a header added")
  end
end

function content(conn, queue_id)
  data(conn)
  header(conn, "From", "alice@example.com")
  header(conn, "Subject", "hello")
  end_of_headers(conn)
  body(conn, "Hello.\r\n")
  finish(conn, queue_id)
end

-- miltertest ends at an error, but keeps the text of it to itself.
local done, message = pcall(dofile, folder .. "/" .. script .. ".lua")
if not done then
  mt.echo(message)
  error(message)
end
