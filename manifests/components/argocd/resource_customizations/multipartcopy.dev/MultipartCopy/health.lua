local health = {status = "Progressing", message = "waiting for the operator"}

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted; its upload is aborted first"
  return health
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
-- What it says of an older generation may be true no more.
if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "waiting for the operator to see the change"
  return health
end
for _, condition in ipairs(obj.status.conditions) do
  health.message = condition.message
  if condition.type == "Complete" and condition.status == "True" then
    health.status = "Healthy"
    return health
  end
  if condition.type == "Failed" and condition.status == "True" then
    health.status = "Degraded"
    return health
  end
  if condition.reason == "Suspended" then
    health.status = "Suspended"
    return health
  end
end
return health
