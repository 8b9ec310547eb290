//! Plain scalar meaning of every operator, float and integer.
