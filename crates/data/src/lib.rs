//! Data sets, pictures, letterbox, drawing, synthetic scenes.
