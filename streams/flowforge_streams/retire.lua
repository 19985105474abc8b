-- Delete a consumer, only if nothing is pending with it and it was idle long enough.
-- One step, because DELCONSUMER destroys what is pending: a check made by a client is out of date
-- when its deletion arrives.
--
-- KEYS[1]  stream   the stream the group reads
-- ARGV[1]  string   name of the group
-- ARGV[2]  string   name of the consumer
-- ARGV[3]  integer  least idle time, in milliseconds
--
-- Returns 1 when the consumer is gone (it may not have existed), 0 when it has to stay.

if redis.call("EXISTS", KEYS[1]) == 0 then
    return 1
end

for _, row in ipairs(redis.call("XINFO", "CONSUMERS", KEYS[1], ARGV[1])) do
    local consumer = {}
    for i = 1, #row, 2 do
        consumer[row[i]] = row[i + 1]
    end
    if consumer["name"] == ARGV[2] then
        if consumer["pending"] > 0 or consumer["idle"] < tonumber(ARGV[3]) then
            return 0
        end
        redis.call("XGROUP", "DELCONSUMER", KEYS[1], ARGV[1], ARGV[2])
    end
end

return 1
