#!lua
-- The door: append what is new, remember it, let unchanged repeats stop here. Atomic.
-- No allow-oom flag: when memory is full this fails as a whole, before anything is written.
-- KEYS: 1 today's memory, 2 yesterday's, 3 urgent inbox, 4 normal inbox
-- ARGV: 1 memory's time to live (ms), 2 longest inbox, 3 '1' where a replica must confirm, then per item: key index (3|4), n, n x (field, version), payload
-- Returns {urgent entry id, normal entry id, one '1' (appended) or '0' (repeat) per item}, or {'BUSY'}.
local ttl, longest = ARGV[1], tonumber(ARGV[2])
if redis.call('XLEN', KEYS[3]) + redis.call('XLEN', KEYS[4]) > longest then return {'BUSY'} end
local flags, fresh, known, memory = {}, {[3] = {}, [4] = {}}, {}, {}
local i, argc = 4, #ARGV
while i <= argc do
  local lane, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local new = n == 0
  for j = i + 2, i + 1 + 2 * n, 2 do
    local field, version = ARGV[j], ARGV[j + 1]
    local old = known[field] or redis.call('HGET', KEYS[1], field)
    if old ~= version then
      -- Yesterday's memory is carried into today by the first repeat of the day; other repeats write nothing.
      if old or redis.call('HGET', KEYS[2], field) ~= version then new = true end
      memory[field] = version
    end
    known[field] = version
  end
  i = i + 2 + 2 * n
  if new then
    local to = fresh[lane]
    to[#to + 1] = string.format('%d', #to / 2) -- unique names: clients read an entry's fields as a map
    to[#to + 1] = ARGV[i]
    flags[#flags + 1] = '1'
  else
    flags[#flags + 1] = '0'
  end
  i = i + 1
end
local pairs_out = {}
for field, version in pairs(memory) do
  pairs_out[#pairs_out + 1] = field
  pairs_out[#pairs_out + 1] = version
  if #pairs_out >= 1000 then
    redis.call('HSET', KEYS[1], unpack(pairs_out))
    pairs_out = {}
  end
end
if #pairs_out > 0 then redis.call('HSET', KEYS[1], unpack(pairs_out)) end
-- Where a replica must confirm (ARGV[3]), a repeat writes too: WAIT only speaks for its own connection's writes.
if next(memory) or ARGV[3] == '1' then redis.call('PEXPIRE', KEYS[1], ttl) end
local ids = {'', ''}
for lane = 3, 4 do
  local fields = fresh[lane]
  local from = 1
  while from <= #fields do
    -- unpack has a stack limit; an entry of 1,000 fields is well under it.
    local to = math.min(from + 999, #fields)
    local id = redis.call('XADD', KEYS[lane], '*', unpack(fields, from, to))
    ids[lane - 2] = ids[lane - 2] == '' and id or ids[lane - 2] .. ' ' .. id
    from = to + 1
  end
end
return {ids[1], ids[2], table.concat(flags)}
