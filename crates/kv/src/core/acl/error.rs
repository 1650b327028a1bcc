//! Why a rule can't be, in Redis's own words, since clients match on them.

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is no such command, subcommand or category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// Not a rule.
    #[error("Syntax error")]
    Syntax,
    /// Every key is allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not \
         have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AllKeys,
    /// Every channel is allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does \
         not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    /// `+config|get|x`
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgument,
    /// `(` without `)`
    #[error("Unmatched parenthesis in acl selector")]
    Parenthesis,
    /// `<password`, and the user has another one, or none.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `#hash` or `!hash`
    #[error(
        "Hashes of passwords can't be used: this server keeps its own, of another kind. Give the \
         password itself, with '>'"
    )]
    PasswordHash,
    /// More than is kept.
    #[error("The rules of a user have at most {} bytes", super::RULES_BYTES_MAX)]
    TooLong,
}
