-- The host gate in one script (ports.HostGate; docs/adr/0006 has the reasons). All times are microseconds.
--
-- KEYS[1]  epoch hash: run (the server's run_id), begin (grants begin, by `clock`), wall (last TIME seen), clock
-- others   per host: leases (sorted set, id by expiry on `clock`), state hash: tat (GCRA), limit and changed (the
--          adaptive limit and when it was set), cooling (until when), halved (when last)
-- ARGV     operation, now ("": the server's TIME), lease, quiet, and what the operation needs

local operation, given = ARGV[1], ARGV[2]
local lease, quiet = tonumber(ARGV[3]), tonumber(ARGV[4])
local HOUR, DAY = 3600000000, 86400000000
local LEAST_COOLING, POLL = 3000000, 250000

-- Leases are measured on a clock that never goes back and takes at most `margin` at a time from TIME: when TIME jumps
-- ahead, a holder loses no more than the margin, which leases here have on top of what holders count on. Where nobody
-- asks for longer than that, it runs late, and a lease lasts longer than it had to.
local margin = math.floor(lease / 4)
local hold = lease + margin

local now, clock, begin

local function text(number)
  return string.format('%.0f', number)
end

local function read_epoch()
  if given == '' then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
  else
    now = tonumber(given)
  end
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local known = redis.call('HMGET', KEYS[1], 'run', 'begin', 'wall', 'clock')
  local passed = now - (tonumber(known[3]) or now)
  clock = (tonumber(known[4]) or now) + math.max(0, math.min(passed, margin))
  if operation == 'open' then
    clock = clock + hold -- whatever leases are left have expired
    begin = clock
  elseif known[1] == run then
    begin = tonumber(known[2])
  else -- flushed, restarted or failed over
    begin = clock + hold
  end
  redis.call('HSET', KEYS[1], 'run', run, 'begin', text(begin), 'wall', text(now), 'clock', text(clock))
  redis.call('PEXPIRE', KEYS[1], text(DAY / 1000))
end

-- One hour longer than the epoch: a lease that its holder counts on is never gone before the epoch is.
local function keep(key)
  redis.call('PEXPIRE', key, text((DAY + HOUR) / 1000))
end

local function read_state(key)
  local found = redis.call('HMGET', key, 'tat', 'limit', 'changed', 'cooling', 'halved')
  local state = {
    tat = tonumber(found[1]) or 0,
    limit = tonumber(found[2]),
    changed = tonumber(found[3]) or 0,
    cooling = tonumber(found[4]) or 0,
    halved = tonumber(found[5]) or 0,
  }
  if state.halved > now or state.cooling > now + DAY then -- TIME went back
    state.halved = math.min(state.halved, now)
    state.cooling = math.min(state.cooling, now + DAY)
    state.changed = math.min(state.changed, math.max(now, state.cooling))
    redis.call('HSET', key, 'halved', text(state.halved), 'cooling', text(state.cooling),
      'changed', text(state.changed))
  end
  return state
end

local function adaptive(state)
  return state.limit + math.max(0, math.floor((now - state.changed) / quiet))
end

local function limit_now(state, limit)
  return state.limit and math.min(limit, adaptive(state)) or limit
end

local function in_flight(key)
  return redis.call('ZCOUNT', key, '(' .. text(clock), '+inf')
end

local function held(key, id)
  local expiry = redis.call('ZSCORE', key, id)
  return expiry and tonumber(expiry) > clock
end

local function put(key, id)
  redis.call('ZADD', key, text(clock + hold), id)
  keep(key)
end

local function describe(leases, state, limit)
  return { limit_now(state, limit), in_flight(leases), state.cooling > now and state.cooling or 0 }
end

-- id, limit, interval between requests, cooling until (0: not said) → granted at (0: not), wait, reason
local function acquire()
  local leases, key, id = KEYS[2], KEYS[3], ARGV[5]
  local limit, interval, cooling = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
  if held(leases, id) then
    put(leases, id)
    return { now, 0, '' }
  end
  local state = read_state(key)
  cooling = math.min(cooling, now + DAY)
  if cooling > math.max(state.cooling, now) then
    state.cooling = cooling
    redis.call('HSET', key, 'cooling', text(cooling))
    keep(key)
  end
  if clock < begin then
    return { 0, begin - clock, 'recovering' }
  end
  if state.cooling > now then
    return { 0, state.cooling - now, 'cooling' }
  end
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', text(clock))
  if redis.call('ZCARD', leases) >= limit_now(state, limit) then
    return { 0, POLL, 'busy' }
  end
  if state.tat > now + limit * interval then -- TIME went back, or the rule is another
    state.tat = now + limit * interval
    redis.call('HSET', key, 'tat', text(state.tat))
  end
  local tat = math.max(now, state.tat)
  local early = tat - (limit - 1) * interval - now
  if early > 0 then
    return { 0, early, 'rate' }
  end
  redis.call('HSET', key, 'tat', text(tat + interval))
  keep(key)
  put(leases, id)
  return { now, 0, '' }
end

-- one id for each of KEYS[2…] → for each 1 when it is held, 0 when it is lost
local function renew()
  local kept = {}
  for place = 2, #KEYS do
    local key, id = KEYS[place], ARGV[place + 3]
    if clock < begin or held(key, id) then
      put(key, id)
      kept[place - 1] = 1
    else
      kept[place - 1] = 0
    end
  end
  return kept
end

-- id, limit, granted at, seconds of a 429 or 503 in microseconds ("": none) → limit now, in flight, cooling until (0)
local function release()
  local leases, key, id, limit = KEYS[2], KEYS[3], ARGV[5], tonumber(ARGV[6])
  redis.call('ZREM', leases, id)
  local state = read_state(key)
  if ARGV[8] ~= '' then
    if not state.limit or tonumber(ARGV[7]) > state.halved then
      state.limit = math.max(1, math.floor(limit_now(state, limit) / 2))
      state.halved = now
    else
      state.limit = adaptive(state)
    end
    local asked = math.min(DAY, math.max(LEAST_COOLING, tonumber(ARGV[8])))
    state.cooling = math.max(state.cooling, now + asked)
    state.changed = state.cooling -- quiet because nobody asked does not count
    redis.call('HSET', key, 'limit', text(state.limit), 'changed', text(state.changed),
      'cooling', text(state.cooling), 'halved', text(state.halved))
    keep(key)
  end
  return describe(leases, state, limit)
end

read_epoch()
if operation == 'acquire' then
  return acquire()
elseif operation == 'renew' then
  return renew()
elseif operation == 'release' then
  return release()
elseif operation == 'state' then
  return describe(KEYS[2], read_state(KEYS[3]), tonumber(ARGV[5]))
end
return {}
