"""Planners by name; see `base.py` for the loop they share."""
from jepa_ros.actor.planners.base import EnergyFunction, Evaluation, Planner, Search, SearchSpace
from jepa_ros.actor.planners.cem import CEM
from jepa_ros.actor.planners.config import PlannerConfig, PLANNERS
from jepa_ros.actor.planners.mppi import MPPI

__all__ = ['CEM', 'EnergyFunction', 'Evaluation', 'MPPI', 'PLANNERS', 'Planner', 'PlannerConfig', 'Search',
           'SearchSpace']
