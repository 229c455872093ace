#!lua flags=no-writes
-- A partition's dead letters without their bulk: a list must not carry bodies of a megabyte each.
-- KEYS: 1 dead letters
-- ARGV: 1 how many, 2 kind or '', 3 source or '', 4 bytes of payload to show, 5 the newest entry to look at or '+'
-- Returns per letter, newest first: {id, at, kind, source, reason, size of payload, beginning of payload}.
local most, kind, source, shown = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local out, before = {}, ARGV[5]
while #out < most do
  local page = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', 100)
  if #page == 0 then break end
  for _, entry in ipairs(page) do
    local f = {}
    for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
    if (kind == '' or f.kind == kind) and (source == '' or f.source == source) and #out < most then
      out[#out + 1] = {entry[1], f.at, f.kind, f.source or '', f.reason, #f.d, string.sub(f.d, 1, shown)}
    end
    before = '(' .. entry[1]
  end
end
return out
