"""A robot whose commands hold: two joints by a trajectory, and wheels beside them that stop at zero."""
ARM = """\
name: arm
control_period_s: 0.1
observations:
  - {key: joints, topic: joint_states, type: sensor_msgs/msg/JointState, joints: [a, b], timeout_s: 5.0}
actions:
  - key: joints
    topic: trajectory
    type: trajectory_msgs/msg/JointTrajectory
    safe: hold
    frame: base_link
    joints: [b, a]
    time_from_start_s: 0.2
    fields:
      - {name: a_rad, field: 'position[a]', min: -2.0, max: 2.0, max_rate: 1.0}
      - {name: b_rad, field: 'position[b]', min: -3.0, max: -1.0, max_rate: 1.0}
  - key: wheels
    topic: wheels
    type: geometry_msgs/msg/TwistStamped
    frame: base_link
    fields:
      - {name: vx_mps, field: twist.linear.x, min: -1.0, max: 1.0, max_rate: 20.0}
"""
