"""Measuring an agent: closed loops without ROS, observation of a running stack, reports and pictures."""
