//! Finds pillar count, batch and thread placement for a machine and a workload.
