"""Planners by name; see `base.py` for the loop they share."""
from jepa_ros.actor.planners.base import EnergyFunction, Evaluation, Planner, Search, SearchSpace
from jepa_ros.actor.planners.beam import Beam
from jepa_ros.actor.planners.cem import CEM
from jepa_ros.actor.planners.cem_gradient import CEMGradient
from jepa_ros.actor.planners.config import PlannerConfig, PLANNERS
from jepa_ros.actor.planners.exhaustive import Exhaustive
from jepa_ros.actor.planners.gradient import GradientPlanner
from jepa_ros.actor.planners.icem import ICEM
from jepa_ros.actor.planners.mppi import MPPI
from jepa_ros.actor.planners.random_shooting import RandomShooting
from jepa_ros.actor.planners.tree import TreeSearch

__all__ = ['Beam', 'CEM', 'CEMGradient', 'EnergyFunction', 'Evaluation', 'Exhaustive', 'GradientPlanner', 'ICEM',
           'MPPI', 'PLANNERS', 'Planner', 'PlannerConfig', 'RandomShooting', 'Search', 'SearchSpace', 'TreeSearch']
