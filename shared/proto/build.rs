//! Compiles every .proto under `proto/` without protoc, fails when a method carries no access rule, and keeps fields
//! marked `debug_redact` out of Debug output.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    // The encoded form: a decoded prost FileDescriptorSet has lost the custom options.
    let bytes = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(bytes.as_slice())?;
    require_access_rules(&pool)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), &bytes)?;

    let secret = messages_with_secrets(&pool);
    fs::write(out.join("redacted.rs"), redacted_debug(&secret)?)?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names().include_file("diwan.rs");
    tonic_prost_build::configure()
        .build_transport(false)
        .skip_debug(secret.iter().map(|message| format!(".{}", message.full_name())))
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}

fn require_access_rules(pool: &DescriptorPool) -> Result<(), Failure> {
    let rule = pool.get_extension_by_name("diwan.access.v1.rule").ok_or("diwan.access.v1.rule is not defined")?;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        let declared = options.get_extension(&rule);
        let callers = declared.as_message().and_then(|rule| rule.get_field_by_name("callers").map(|c| c.into_owned()));
        if callers.is_none_or(|callers| callers.as_list().is_none_or(<[_]>::is_empty)) {
            return Err(
                format!("{} says nothing of who may call it: add (diwan.access.v1.rule)", method.full_name()).into()
            );
        }
    }
    Ok(())
}

fn messages_with_secrets(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages()
        .filter(|message| message.full_name().starts_with("diwan.") && message.fields().any(|field| is_secret(&field)))
        .collect()
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

fn redacted_debug(messages: &[MessageDescriptor]) -> Result<String, Failure> {
    let mut code = String::new();
    for message in messages {
        let path = message.full_name().replace('.', "::");
        writeln!(code, "impl ::core::fmt::Debug for {path} {{")?;
        writeln!(code, "    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{")?;
        writeln!(code, "        f.debug_struct({:?})", message.name())?;
        for field in message.fields() {
            let name = field.name();
            let value = if is_secret(&field) { "&\"[redacted]\"".to_owned() } else { format!("&self.{name}") };
            writeln!(code, "            .field({name:?}, {value})")?;
        }
        writeln!(code, "            .finish()\n    }}\n}}")?;
    }
    Ok(code)
}
