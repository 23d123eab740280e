"""Names of the nodes and of the process that holds all six organs. Imports nothing."""
ORGANS = ('perception', 'world_model', 'cost', 'actor', 'memory', 'configurator')
GATE, SIM, AGENT = 'command_gate', 'sim', 'agent'
