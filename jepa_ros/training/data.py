"""Training data: episodes on the control grid, gathered from bags and stores once and kept in a cache.

The bags stay the source of truth: the cache carries their hashes and is built again when they change. What is here is
the public face of `data_episodes` (windows and batches), `data_parts` (checks), `data_cache` (files) and `gather`.
"""
from jepa_ros.training.data_cache import load, save
from jepa_ros.training.data_episodes import Batch, EpisodeSet
from jepa_ros.training.data_parts import from_episodes

__all__ = ['Batch', 'EpisodeSet', 'from_episodes', 'load', 'save']
