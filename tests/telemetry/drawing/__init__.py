"""The pages of a run as text: drawn from scripted events and from simulated runs, and compared with golden files."""
