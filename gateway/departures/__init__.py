"""From stored readings to the person's health space: what should leave (planner), and its sending (dispatcher)."""

from gateway.departures.dispatcher import Dispatcher, Route
from gateway.departures.planner import Planner, PlannerPolicy, PlanningDestination, planning_destination
from gateway.departures.policy import DispatchPolicy

__all__ = [
    "DispatchPolicy",
    "Dispatcher",
    "Planner",
    "PlannerPolicy",
    "PlanningDestination",
    "Route",
    "planning_destination",
]
