//! Laws of rules.

use proptest::prelude::*;

use super::*;

/// A rule that is sound by itself.
fn rule() -> impl Strategy<Value = String> {
    let commands: Vec<&str> = all_commands().map(|command| command.name).collect();
    let categories: Vec<&str> = Categories::names().collect();
    let plain = [
        "on",
        "off",
        "nopass",
        "resetkeys",
        "resetchannels",
        "allcommands",
        "nocommands",
        "clearselectors",
        "sanitize-payload",
        "skip-sanitize-payload",
        "+@all",
        "-@all",
    ];
    prop_oneof![
        prop::sample::select(plain.to_vec()).prop_map(str::to_owned),
        ("[+-]", prop::sample::select(commands)).prop_map(|(sign, name)| sign + name),
        ("[+-]", prop::sample::select(categories)).prop_map(|(sign, name)| sign + "@" + name),
        "[+]select\\|[a-c]",
        "resetkeys~[ab*?]{0,3}".prop_map(|text| text.replace("resetkeys", "")),
        "%(R|W|RW)~[ab*]{0,2}",
        "&[ab*]{0,2}",
    ]
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let selector = prop::collection::vec(rule(), 0..4).prop_map(|rules| {
        let rules: Vec<String> = rules
            .into_iter()
            .filter(|rule| "+-~%&".contains(&rule[..1]))
            .collect();
        format!("({})", rules.join(" "))
    });
    prop::collection::vec(prop_oneof![8 => rule(), 1 => selector], 0..16)
}

/// The user that these rules make, without those that are refused.
fn made(rules: &[String]) -> User {
    let mut user = User::default();
    for rule in rules {
        // Patterns after all are refused, and so they are left out.
        let _ = user.apply(&[Bytes::from(rule.clone())]);
    }
    user
}

proptest! {
    // Each case looks at every command there is.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_canonical_form_gives_the_same_rules(rules in rules()) {
        let user = made(&rules);
        let text = user.text();
        let again = User::parse(&text);
        prop_assert_eq!(again.as_ref(), Ok(&user), "{}", String::from_utf8_lossy(&text));
        // ACL SETUSER takes what ACL LIST tells, too.
        let mut set = User::default();
        let words: Vec<Bytes> = String::from_utf8(text).unwrap().split(' ').map(|word| word.to_owned().into()).collect();
        prop_assert_eq!(set.apply(&words), Ok(vec![]));
        prop_assert_eq!(set, user);
    }

    /// Of all rules about commands the last one that names a command holds.
    #[test]
    fn the_last_rule_about_a_command_holds(rules in prop::collection::vec(rule(), 0..12)) {
        let user = made(&rules);
        for command in all_commands() {
            if command.flags.has(crate::core::command::Flags::NO_AUTH) {
                continue;
            }
            let mut expected = false;
            let mut with_argument = false;
            for rule in &rules {
                let (allows, name) = match rule.split_at(1) {
                    ("+", name) => (true, name),
                    ("-", name) => (false, name),
                    _ if rule == "allcommands" => (true, "@all"),
                    _ if rule == "nocommands" => (false, "@all"),
                    _ => continue,
                };
                let container = command.name.split('|').next().unwrap();
                let is_meant = match name.strip_prefix('@') {
                    Some("all") => true,
                    Some(category) => categories_of(command).iter().any(|it| it == category),
                    None => name == command.name || name == container,
                };
                if is_meant {
                    (expected, with_argument) = (allows, false);
                } else if name.starts_with("select|") && command.name == "select" {
                    with_argument = true;
                }
            }
            // With no words there is no argument.
            let permitted = user.root().permit_command(command, &[]);
            prop_assert_eq!(permitted, expected, "{}", command.name);
            if command.name == "select" && with_argument {
                let permits = |argument: &'static str| user.root().permit_command(command, &["select".into(), argument.into()]);
                prop_assert!(expected || ["a", "b", "c"].into_iter().any(permits));
                prop_assert_eq!(permits("z"), expected);
            }
        }
    }

    #[test]
    fn no_words_panic(words in prop::collection::vec("[-+~%&@|()<>#RWa* ]{0,6}", 0..6)) {
        let words: Vec<Bytes> = words.into_iter().map(Bytes::from).collect();
        let mut user = User::default();
        let _ = user.apply(&words);
        prop_assert_eq!(User::parse(&user.text()), Ok(user));
    }

    /// More selectors never take a right away.
    #[test]
    fn selectors_only_add(rules in rules(), call in prop::sample::select(vec!["get a", "set a b", "copy a b", "publish a b", "psubscribe a*", "client id"])) {
        let fewer = made(&rules);
        let more = made(&[&rules[..], &["(~a +get)".to_owned()]].concat());
        if denied(&fewer, call).is_none() {
            prop_assert_eq!(denied(&more, call), None);
        }
    }
}
