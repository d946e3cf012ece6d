"""nbray: Ray's programming model at home in Jupyter and on Dask."""
