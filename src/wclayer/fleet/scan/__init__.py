"""The scan: a graph of tasks over the layers of many images, carried out by the workers of a Dask cluster."""
