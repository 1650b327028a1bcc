//! ACL: the table of what it can do. What it does is the face's.

use super::{
    session::{ADMIN, ALWAYS, HERE, commands, refused},
    table::{Command, Flags, Group, KeyPlaces},
};

pub(super) const COMMANDS: &[Command] = commands! { Group::Server;
    "acl", -2, Flags::NONE, "6.0.0", "Depends on subcommand.",
        "A container for commands about users and what they may do.", subcommands: ACL;
};

const ACL: &[Command] = commands! { Group::Server;
    "acl|cat", -2, HERE, "6.0.0", "O(1) since the categories and commands are a fixed set.",
        "Lists the categories of commands, or the commands of a category.";
    "acl|deluser", -3, ADMIN, "6.0.0", "O(1) amortized time considering the typical user.",
        "Deletes users, and ends their connections.";
    "acl|dryrun", -4, ADMIN, "7.0.0", "O(1).",
        "Tells whether a user might call a command, without calling it.";
    "acl|genpass", -2, HERE, "6.0.0", "O(1)",
        "Makes up a password.";
    "acl|getuser", 3, ADMIN, "6.0.0", "O(N). Where N is the number of password, command and pattern rules that the user has.",
        "Tells what a user may do.";
    "acl|help", 2, ALWAYS, "6.0.0", "O(1)",
        "Tells what ACL can do.";
    "acl|list", 2, ADMIN, "6.0.0", "O(N). Where N is the number of configured users.",
        "Tells what all users may do.";
    "acl|load", 2, ADMIN, "6.0.0", "O(N). Where N is the number of configured users.",
        "Is refused: there is no file of these rules.";
    "acl|log", -2, ADMIN, "6.0.0", "O(N) with N being the number of entries shown.",
        "Tells what clients of this node were not allowed.";
    "acl|save", 2, ADMIN, "6.0.0", "O(N). Where N is the number of configured users.",
        "Is refused: there is no file of these rules.";
    "acl|setuser", -3, ADMIN, "6.0.0", "O(N). Where N is the number of rules provided.",
        "Creates a user, or changes what it may do.";
    "acl|users", 2, ADMIN, "6.0.0", "O(N). Where N is the number of configured users.",
        "Lists the users.";
    "acl|whoami", 2, HERE, "6.0.0", "O(1)",
        "Tells as whom the connection is logged in.";
};
