"""What programs use of ``ray.experimental``: its tqdm."""
