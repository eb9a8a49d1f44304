"""OpenVINO's CPU plugin: a session, and what it computes otherwise than the graph says."""
