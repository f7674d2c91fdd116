"""dask.distributed as a second engine, for node jobs of a pool on a cluster that exists already."""
