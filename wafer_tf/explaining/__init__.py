"""Where on the wafer a call came from: heat maps, their faithfulness, a sentence."""
