"""What the list of an image's parts says of each."""

from __future__ import annotations

from image_sbom import debian_component, document, python_component


def test_a_debian_package_has_the_purl_of_its_release() -> None:
    made = debian_component("libstdc++6\t12.2.0-14+deb12u1\tamd64", "debian-12")
    assert made["purl"] == (
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
    )
    assert (made["name"], made["version"]) == ("libstdc++6", "12.2.0-14+deb12u1")


def test_a_python_package_has_its_licence_where_it_says_one() -> None:
    assert python_component("PyYAML\t6.0.3\tMIT") == {
        "type": "library",
        "bom-ref": "pkg:pypi/pyyaml@6.0.3",
        "name": "PyYAML",
        "version": "6.0.3",
        "purl": "pkg:pypi/pyyaml@6.0.3",
        "licenses": [{"expression": "MIT"}],
    }
    assert "licenses" not in python_component("anyio\t4.16.0\t")


def test_the_interpreter_is_among_them() -> None:
    assert python_component("python\t3.12.1\t")["purl"] == "pkg:generic/python@3.12.1"


def test_the_document_names_its_format() -> None:
    made = document("image", [python_component("anyio\t4.16.0\t")])
    assert (made["bomFormat"], made["specVersion"], len(made["components"])) == (
        *("CycloneDX", "1.6"),
        1,
    )
    assert made["metadata"]["component"] == {"type": "container", "name": "image"}
