module multipartcopy.dev/dev/cluster/pause

go 1.26
