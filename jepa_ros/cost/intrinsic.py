"""Intrinsic cost: hard-wired, differentiable terms; nothing here has weights to train (LeCun §3.2, Fig. 6).

The terms stand in `terms_*.py`, one function each; importing this module registers them. docs/cost.md lists them.
"""
from jepa_ros.cost.context import Bounds, Context, Goal, Program, Ranges, Region, Remembered
from jepa_ros.cost.term_set import term_set_sha256
from jepa_ros.cost.terms import IntrinsicTerm, registered, TermFunction, TERMS
from jepa_ros.cost.terms_action import effort, limits, smoothness
from jepa_ros.cost.terms_drives import agency, curiosity
from jepa_ros.cost.terms_goal import goal, program, readout_goal
from jepa_ros.cost.terms_readouts import battery, clearance, collision, overrun, readout_limits, touching
from jepa_ros.cost.terms_regions import avoid, BARRIER, discomfort, inside

__all__ = [
    'BARRIER', 'Bounds', 'Context', 'Goal', 'IntrinsicTerm', 'Program', 'Ranges', 'Region', 'Remembered', 'TERMS',
    'TermFunction', 'agency', 'avoid', 'battery', 'clearance', 'collision', 'curiosity', 'discomfort', 'effort', 'goal',
    'inside', 'limits', 'overrun', 'program', 'readout_goal', 'readout_limits', 'registered', 'smoothness',
    'term_set_sha256', 'touching']
