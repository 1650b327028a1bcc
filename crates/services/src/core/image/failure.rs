//! Why a container can't have its image, in the words that Kubernetes shows as the reason of a
//! waiting container and that its clients match on (`pkg/kubelet/images/types.go`).
//!
//! `ImagePullBackOff` is not among them: it tells that the next try is waited for, which is for
//! who tries again to say.

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time; what is there already is not sent again.
    Always,
    /// If it is not there.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// As `imagePullPolicy` has it; what is unknown or missing is `IfNotPresent`.
    pub fn of(text: &str) -> PullPolicy {
        match text {
            "Always" => PullPolicy::Always,
            "Never" => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        }
    }
}

/// A reason that Kubernetes knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageReason {
    /// The name is no name of an image; another try can't help.
    InvalidImageName,
    /// It is not there and must not be fetched.
    ErrImageNeverPull,
    /// It could not be fetched, or what was fetched is not good.
    ErrImagePull,
    /// What is kept here can't be read.
    ImageInspectError,
}

impl ImageReason {
    /// As it stands in a container's status.
    pub fn name(self) -> &'static str {
        match self {
            ImageReason::InvalidImageName => "InvalidImageName",
            ImageReason::ErrImageNeverPull => "ErrImageNeverPull",
            ImageReason::ErrImagePull => "ErrImagePull",
            ImageReason::ImageInspectError => "ImageInspectError",
        }
    }
}

/// Why a container can't have its image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", reason.name())]
pub struct ImageFailure {
    /// The reason.
    pub reason: ImageReason,
    /// In words.
    pub message: String,
}

impl ImageFailure {
    /// The name of an image is none.
    pub fn invalid_name(image: &str, why: &dyn std::fmt::Display) -> ImageFailure {
        ImageFailure {
            reason: ImageReason::InvalidImageName,
            message: format!(
                "Failed to apply default image tag {image:?}: couldn't parse image name \
                 {image:?}: {why}"
            ),
        }
    }

    /// An image is not there and must not be fetched.
    pub fn never_pull(image: &str) -> ImageFailure {
        ImageFailure {
            reason: ImageReason::ErrImageNeverPull,
            message: format!("Container image {image:?} is not present with pull policy of Never"),
        }
    }

    /// An image could not be fetched; `name` is its whole name.
    pub fn pull(name: &str, why: &dyn std::fmt::Display) -> ImageFailure {
        ImageFailure {
            reason: ImageReason::ErrImagePull,
            message: format!("failed to pull and unpack image {name:?}: {why}"),
        }
    }

    /// What is kept of an image can't be read.
    pub fn inspect(image: &str, why: &dyn std::fmt::Display) -> ImageFailure {
        ImageFailure {
            reason: ImageReason::ImageInspectError,
            message: format!("Failed to inspect image {image:?}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_kubernetes_has_them() {
        let told = [
            ImageFailure::invalid_name("A", &"invalid reference format"),
            ImageFailure::never_pull("a"),
            ImageFailure::pull("docker.io/library/a:latest", &"no route"),
            ImageFailure::inspect("a", &"gone"),
        ]
        .map(|failure| failure.to_string());
        assert_eq!(
            told,
            [
                "InvalidImageName: Failed to apply default image tag \"A\": couldn't parse image \
                 name \"A\": invalid reference format",
                "ErrImageNeverPull: Container image \"a\" is not present with pull policy of Never",
                "ErrImagePull: failed to pull and unpack image \"docker.io/library/a:latest\": no \
                 route",
                "ImageInspectError: Failed to inspect image \"a\": gone",
            ]
        );
        let policies = ["Always", "Never", "IfNotPresent", ""].map(PullPolicy::of);
        assert_eq!(policies[0], PullPolicy::Always);
        assert_eq!(policies[1], PullPolicy::Never);
        assert_eq!(policies[2..], [PullPolicy::IfNotPresent; 2]);
    }
}
