-- A deadline that has passed: the workers are stopped, the upload is aborted, and the copy fails as
-- DeadlineExceeded. The deadline counts from the claim, and not while the copy is suspended.
obj.spec.activeDeadlineSeconds = 1
obj.spec.suspend = false
return obj
