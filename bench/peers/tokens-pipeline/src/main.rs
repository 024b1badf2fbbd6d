#[path = "../../tokens.rs"]
mod tokens;

use tk_encode::pipeline::{EncodeOptions, PipelineToken};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let canonical = tk_convert::canonicalize_file(&args[1]).unwrap();
    let tokenizer = tk_serialize::from_json(&canonical).unwrap();
    tokens::run("tk-encode 0.1.0-rc.3", &args[2], &args[3], |text| {
        let encoded = tokenizer.encode(text, &EncodeOptions::no_specials()).wait().unwrap();
        PipelineToken::cast_slice(encoded.first().unwrap().ids()).to_vec()
    });
}
