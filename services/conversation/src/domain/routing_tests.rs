//! Properties of the decision.
