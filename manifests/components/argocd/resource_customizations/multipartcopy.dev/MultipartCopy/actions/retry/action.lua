-- Once for each failure: the operator begins again for a value that it has not handled.
local failure = obj.status.completionTime
if failure == obj.status.handledRetry then
  failure = failure .. "-again"
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["multipartcopy.dev/retry"] = failure
return obj
