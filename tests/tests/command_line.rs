//! What the program says to a configuration, a variable or an argument that
//! cannot be: where, what and what would be right, before anything runs.

use std::time::Duration;

use tests::support::{Program, Relay, Scratch};

const LIMIT: Duration = Duration::from_secs(60);

/// What the relay's program says when it refuses to run so.
fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut program = Program::new(Relay::binary()).args(arguments).limit(LIMIT);
    for (name, value) in variables {
        program = program.env(name, value);
    }
    let out = program.finish().expect("it ends");
    assert!(!out.status.success(), "{arguments:?} {variables:?}");
    out.stderr
}

#[test]
fn check_config_says_what_could_never_run() {
    let scratch = Scratch::new("mistakes");
    let file = scratch.file("relay.toml");
    let text = "[[input]]\nkind = \"rtp\"\nmount = \"/one.opus\"\nlisten = \"127.0.0.1:21004\"\n\
                [[input]]\nkind = \"rtp\"\nmount = \"/two.opus\"\nlisten = \"127.0.0.1:21005\"\n\
                [[input]]\nkind = \"http\"\nmount = \"/three.opus\"\nurl = \"icecast://x/y\"\n\
                [[forward]]\nkind = \"icecast\"\nmount = \"/one.opus\"\n\
                url = \"https://source:geheim@backup.example/one.opus\"\n";
    let text = format!(
        "{text}[[input]]\nmount = \"/five.opus\"\nkind = \"stdin\"\n\
         [[input]]\nmount = \"/six.opus\"\nkind = \"stdin\"\n\
         [[forward]]\nmount = \"/six.opus\"\nkind = \"udp\"\nto = [\"127.0.0.1:9\"]\n"
    );
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let arguments = [
        vec!["check-config", &file],
        vec!["serve", "--listen", "127.0.0.1:0", "--config", &file],
    ];
    for arguments in arguments {
        let said = refused(&arguments, &[]);
        for words in [
            [
                "line 8: input.listen: ",
                "\"/one.opus\"",
                "127.0.0.1:21005 for RTCP of 127.0.0.1:21004",
            ],
            ["line 12: input.url: ", "http://", "https://"],
            [
                "line 16: forward.url: ",
                "\"https://backup.example/one.opus\"",
                "plain http only",
            ],
            ["line 22: input.kind: ", "\"/five.opus\"", "command"],
            ["line 25: forward.kind: ", "\"/six.opus\"", "rtp"],
        ] {
            let line = said.lines().find(|line| line.contains(words[0]));
            let line = line.unwrap_or_else(|| panic!("no {:?} in {said}", words[0]));
            assert!(
                words.iter().all(|word| line.contains(word)),
                "{words:?}: {line}"
            );
            assert!(line.contains(&file), "{line}");
        }
        assert!(!said.contains("geheim"), "{said}");
    }
}

#[test]
fn mistakes_outside_the_file_begin_with_their_names() {
    for (arguments, variables, first) in [
        (
            vec!["serve", "--defaults-join", "middle"],
            vec![],
            "error: --defaults-join: ",
        ),
        (
            vec!["serve"],
            vec![("SEAMCAST_DEFAULTS_JOIN", "middle")],
            "error: SEAMCAST_DEFAULTS_JOIN: ",
        ),
        (
            vec!["serve", "--shards", "many"],
            vec![],
            "error: --shards: ",
        ),
        (
            vec![
                "publish",
                "-",
                "https://source:geheim@radio.example/live.opus?token=geheim",
            ],
            vec![],
            "error: \"https://radio.example/live.opus\" is https",
        ),
        (
            vec!["publish", "-", "radio.example/live.opus"],
            vec![],
            "error: \"radio.example/live.opus\" does not begin with http://",
        ),
    ] {
        let said = refused(&arguments, &variables);
        assert!(said.starts_with(first), "{arguments:?}: {said}");
        assert!(!said.contains("geheim"), "{said}");
    }
}
