local actions = {}

local status = obj.status or {}
if obj.metadata.deletionTimestamp == nil and status.phase == "Failed" and status.completionTime ~= nil then
  actions["retry"] = {["iconClass"] = "fa fa-fw fa-redo"}
  return actions
end
if obj.metadata.deletionTimestamp ~= nil or status.completionTime ~= nil or status.failing ~= nil then
  return actions
end
if obj.spec.suspend then
  actions["resume"] = {["iconClass"] = "fa fa-fw fa-play"}
else
  actions["suspend"] = {["iconClass"] = "fa fa-fw fa-pause"}
end
-- Before the claim there is nothing to give up, and what is being completed is completed first.
if status.claim ~= nil and status.phase ~= "Completing" then
  actions["terminate"] = {["iconClass"] = "fa fa-fw fa-stop"}
end
return actions
