#[path = "../../tokens.rs"]
mod tokens;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let tokenizer = bpe_openai::cl100k_base();
    tokens::run("bpe-openai 0.3.0", &args[1], &args[2], |text| tokenizer.encode(text));
}
