#!lua flags=allow-oom
-- A partition's lease. No clock is involved: a challenger has watched the beat stand still for long enough
-- by its own monotonic clock, and names what it saw; so a clock step on any host takes no lease away.
-- KEYS: 1 lease
-- ARGV: 1 'acquire'|'renew'|'release', 2 owner, 3 epoch held (renew, release) or owner seen (acquire), 4 beat seen
-- Returns acquire: {epoch, seq} or {}; renew, release: 1 or 0.
local held = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'beat', 'seq')
local owner, epoch, beat, seq = held[1] or '', held[2] or '0', held[3] or '0', held[4] or '0'
if ARGV[1] == 'acquire' then
  local free = owner == '' or owner == ARGV[2] or (owner == ARGV[3] and beat == ARGV[4])
  if not free then return {} end
  local new = tostring(tonumber(epoch) + 1)
  redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'epoch', new, 'beat', '0', 'seq', seq)
  return {new, seq}
end
if owner ~= ARGV[2] or epoch ~= ARGV[3] then return 0 end
if ARGV[1] == 'renew' then
  redis.call('HINCRBY', KEYS[1], 'beat', 1)
else
  redis.call('HSET', KEYS[1], 'owner', '')
end
return 1
