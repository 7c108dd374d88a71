"""The actors inside a robot:
five workers and two ports;
each is one small class that talks only through channels.
"""
