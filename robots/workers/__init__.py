"""The actors inside a robot: five workers and two ports.

Each is one small class that talks to the others only through channels.
"""
