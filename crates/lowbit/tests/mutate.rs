//! A few seeded cases of every fuzz target, and every case that once was a finding.

#[path = "../../../fuzz/mutate/mod.rs"]
mod mutate;
#[path = "../examples/mutate/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/targets/mod.rs"]
mod targets;

/// The longer runs are `cargo run --release -p lowbit --example mutate`.
const CASES: usize = 150;

#[test]
fn targets_stand_their_seeds_old_findings_and_a_few_cases() {
    for target in targets::TARGETS {
        let seeds = seeds::of(target.name, None);
        seeds.iter().for_each(|seed| (target.run)(seed));
        let mut rng = mutate::Rng(7);
        // A case of this one quantizes twice.
        let cases = if target.name == "spill" { 5 } else { CASES };
        for _ in 0..cases {
            let case = mutate::case(&mut rng, target.is_model(), &seeds, target.words());
            (target.run)(&case);
        }
    }
}
