"""Named QoS profiles. Every topic of the agent uses one of these; the table of topics is in the README.

SENSOR: measurements, where only the newest counts. STREAM: the organs' outputs, none lost on the way but no long queue.
LATCHED: the current setting, given to late joiners. EVENTS: the few last happenings, given to late joiners.
"""
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

SENSOR = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST, depth=1)
STREAM = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST, depth=5)
LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST, depth=1)
EVENTS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST, depth=10)
# All organs share the topic `heartbeat`: a listener that slept for a moment needs room for the burst.
HEARTBEATS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE,
    history=HistoryPolicy.KEEP_LAST, depth=64)

PROFILES = {'sensor': SENSOR, 'stream': STREAM, 'latched': LATCHED, 'events': EVENTS,
            'heartbeats': HEARTBEATS}
