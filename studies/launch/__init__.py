"""How the runs of a study are launched: a pool of processes, the server in each, and one run."""
