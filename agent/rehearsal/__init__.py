"""Rehearsals: the agent under generated load and without its collector, judged by their ids."""
