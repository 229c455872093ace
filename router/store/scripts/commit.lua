#!lua flags=allow-oom
-- One atomic step: new state + wishes + wake-ups + the acknowledgement of what caused them.
-- allow-oom: what was accepted must still leave when memory is full.
-- Refused whole unless the caller holds the lease (epoch) and nothing was written since it last looked (seq):
-- a paused owner, or a resent copy of an old commit that sat in a socket, writes nothing.
-- KEYS: 1 lease, then every key that an operation names
-- ARGV: 1 epoch, 2 seq, then per operation: number of arguments, command, key index, arguments
-- Returns {'OK', new seq}, {'FENCED', epoch now} or {'STALE', seq now}.
local lease = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if lease[1] ~= ARGV[1] then return {'FENCED', lease[1] or ''} end
local seq = lease[2] or '0'
if seq ~= ARGV[2] then return {'STALE', seq} end
local i, argc = 3, #ARGV
while i <= argc do
  local n = tonumber(ARGV[i])
  redis.call(ARGV[i + 1], KEYS[tonumber(ARGV[i + 2])], unpack(ARGV, i + 3, i + 2 + n))
  i = i + 3 + n
end
return {'OK', tostring(redis.call('HINCRBY', KEYS[1], 'seq', 1))}
