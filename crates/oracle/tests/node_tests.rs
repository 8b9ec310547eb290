use graph::onnx::{ReadOptions, read};
mod node_cases;
#[test]
fn tmp() {
    let cases = node_cases::load("x").unwrap();
    let mut ok=0;
    for c in cases {
        match read(&c.model, &ReadOptions::default()) { Ok(_) => ok+=1, Err(e) => println!("{} {:?}: {e}", c.name, c.operators) }
    }
    println!("ok {ok}");
}
