"""Work on many machines: jobs, results of nodes, and limits that workers share."""
